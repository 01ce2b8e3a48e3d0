"""Predicts pictures with model.onnx beside this file: python predict.py IMAGE…"""

import json
import sys
from pathlib import Path

import numpy as np
import onnxruntime
from PIL import Image, ImageOps

session = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"))
metadata = session.get_modelmeta().custom_metadata_map
classes, (height, width) = json.loads(metadata["classes"]), json.loads(metadata["size"])
print("file", "predicted", *(f"p({name})" for name in classes), sep="\t")
for file in sys.argv[1:]:
    with Image.open(file) as image:
        picture = ImageOps.exif_transpose(image).convert("RGBA")
    behind = Image.new("RGBA", picture.size, metadata["background"])
    picture = Image.alpha_composite(behind, picture).convert("RGB")
    fitted = ImageOps.fit(picture, (width, height), Image.Resampling.BILINEAR)
    (probabilities,) = session.run(None, {"images": np.asarray(fitted)[None]})[0]
    answers = (f"{p:.9g}" for p in probabilities)
    predicted = classes[probabilities.argmax()]
    if metadata["task"] == "multi-label":
        found = [name for name, p in zip(classes, probabilities, strict=True) if p > 0.5]
        predicted = ", ".join(found) or "none"
    print(file, predicted, *answers, sep="\t")
