"""Write the names that code is reached by through strings, for vulture: registries and templates.

`python tests/names_in_strings.py FILE`, and then `vulture FILE sla_bench`.
"""

import re
import sys
from pathlib import Path

PACKAGE = Path(__file__).parent.parent / "sla_bench"
_TARGET = re.compile(r'"[\w.]+:(\w+)"')
_ATTRIBUTE = re.compile(r"\.(\w+)")


def names_in_strings():
    """Attributes that registries name behind a colon, and those that templates read."""
    code = "\n".join(path.read_text() for path in PACKAGE.rglob("*.py"))
    templates = "\n".join(path.read_text() for path in PACKAGE.rglob("*.jinja"))
    return sorted({*_TARGET.findall(code), *_ATTRIBUTE.findall(templates)})


if __name__ == "__main__":
    Path(sys.argv[1]).write_text("".join(f"_.{name}\n" for name in names_in_strings() if name.isidentifier()))
