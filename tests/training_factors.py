"""What a method multiplies in training, as the protocol has it."""

M = 4
"""Views of the rotation."""
TRAINING = {
    "baseline": (1, 1, 1, False),
    "da": (1, 1, 1, True),
    "mt": (1, 1, 1, True),
    "rot-aux": (1, 1, 1, True),
    "views": (1, 1, 1, True),
    "sla": (1, 1, 1, True),
    "sla+sd": (1, 1, 1, True),
    "sla+u": (1, 1, 1, True),
    "da+sd": (1, 1, 1, True),
    **dict.fromkeys(("rot-x1", "sla-x1", "sla-half", "lorot-i", "lorot-e", "s2m2"), (1, 1, 1, False)),
    "baseline-x2": (2, 1, 1, False),
    "ssp": (1, 1, 1, False),
    "ssp+sla": (1, 1, 1, True),
    "skd0": (1, 1, 1, True),
    "skd1": (1, 1, 1, True),
    "hsakd": (1, 1, 1, True),
    "alike": (1, 1, 1, True),
    "bcl": (1, 1, 1, True),
    "rfs-distil": (1, 1, 1, False),
    "baseline-x2M": (2 * M, 1, 1, False),
    "baseline-xM": (M, 1, 1, False),
    "baseline-repM": (1, M, 1, False),
    "ens-M": (1, 1, M, False),
    "baseline-NMway": (1, 1, 1, False),
    "rotpool-NMway": (1, 1, 1, False),
}
"""Method -> factor of the steps, copies of each image, models, all views in training."""
DRAWN = {"rot-x1": 1, "sla-x1": 1, "sla-half": 2, "lorot-i": 1, "lorot-e": 1, "s2m2": 2}
"""Method -> images that are drawn of each image in place of its views."""
PRETRAINED = {"ssp": 1, "ssp+sla": 1, "skd1": M, "rfs-distil": 1}
"""Method with a training before -> its images as a multiple of the baseline's."""
ROTATIONS_FIRST = ("ssp", "ssp+sla")
COST = {
    "baseline": 1,
    **DRAWN,
    "baseline-x2": 2,
    "baseline-x2M": 2 * M,
    "ssp": 2,
    "ssp+sla": 1 + M,
    "skd0": M,
    "skd1": 2 * M,
    "hsakd": M,
    "alike": M,
    "bcl": M,
    "rfs-distil": 2,
}
"""Method -> images through the network in training as a multiple of the baseline's; of others M."""
