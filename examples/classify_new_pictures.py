"""Name the class of new pictures from a few examples of each class, SUPPORT/<class>/*.jpg, without training.

Needs `pip install 'sla-bench[pretrained-small]'`. Without --support, glyphs are drawn into a folder:
python examples/classify_new_pictures.py --support PATH new-pictures/*.jpg
"""

import argparse
from pathlib import Path

from example_folder import glyphs_folder

import sla_bench

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--support", type=Path)
parser.add_argument("--method", default="si", help="si: as they are; flip, tta: mean over views; ag: SLA")
parser.add_argument("--size", type=int, help="pixels; default: those of the pretraining")
parser.add_argument("images", type=Path, nargs="*")
args = parser.parse_args()
if args.support is None:
    # Five examples of each of five classes; the others are the new pictures.
    folder = glyphs_folder([8] * 5)
    files = {path.name: sorted(path.iterdir()) for path in sorted(folder.iterdir())}
    support = {name: of[:5] for name, of in files.items()}
    images = [image for of in files.values() for image in of[5:]]
else:
    support, images = args.support, args.images

classifier = sla_bench.few_shot_classifier(support, method=args.method, size=args.size)
classes, probabilities, nearest = classifier.predict(images)
for image, label, of_each, like in zip(images, classes, probabilities, nearest, strict=True):
    example = classifier.support_names[like]
    print(f"{image}: {classifier.class_names[label]} ({of_each[label]:.2f}), most like {example}")

# A further class, or more examples of one, need no training either.
classifier = classifier.with_class(classifier.class_names[0], images[:1])
classifier.save("classifier.safetensors")
again = sla_bench.load_few_shot_classifier("classifier.safetensors")
print(f"classifier.safetensors: {len(again.support_names)} examples of {len(again.class_names)} classes")
