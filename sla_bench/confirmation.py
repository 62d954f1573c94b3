"""Asking before something large or final."""

from __future__ import annotations

import sys

from sla_bench.errors import UserError


def confirm(fact: str, question: str, yes: bool) -> None:
    """Return if the user agrees.

    Args:
        fact: a sentence's worth, without its full stop: what would happen.
        question: asked on a terminal.
        yes: agreed beforehand (`--yes`).

    Raises:
        UserError: no, or there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise UserError(f"{fact}; if that is meant, add --yes")
    try:
        answer = input(f"{fact}. {question} [y/N] ")
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise UserError("nothing was done")
