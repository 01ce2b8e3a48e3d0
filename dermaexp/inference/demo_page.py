"""The demo's page and its server, by Gradio. Asks nothing of other machines."""

from __future__ import annotations

import contextlib
import html
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware

from dermaexp.core.errors import UserError
from dermaexp.core.text import fixed, markdown_text
from dermaexp.inference.answer import Answer, answer, rgb_of
from dermaexp.inference.demonstrated import Demonstrated
from dermaexp.metrics.labels import answer_text, truth_text
from dermaexp.report.html import data_uri

LARGEST_FILE = "20mb"
SIDE = 224  # pixels to which small images are enlarged, so that a browser does not blur them
FONTS = ("system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "sans-serif")
CSS = Path(__file__).with_name("templates") / "demo.css"
WARNING = (
    "**Not for clinical use.** The model is an experiment and no medical device: it knows its "
    "classes only, and answers any picture with one of them."
)


def page(run: Demonstrated) -> gr.Blocks:
    """Return the page of a run."""
    with gr.Blocks(title=f"{run.title} | dermaexp", analytics_enabled=False) as blocks:
        gr.Markdown(f"# {markdown_text(run.title)}")
        gr.Markdown(" ".join([WARNING, *run.warnings]), elem_id="warning")
        with gr.Row():
            with gr.Column(scale=2, min_width=300):
                picture = gr.Image(
                    label="Picture",
                    sources=["upload", "clipboard"],
                    height=280,
                    buttons=[],
                    elem_id="picture",
                )
                tests = _test_images(run)
            with gr.Column(scale=3, min_width=300):
                message = gr.HTML(elem_id="message", padding=False)
                probabilities = gr.Label(label="Probabilities", elem_id="probabilities")
                explanation = gr.HTML(elem_id="explanation", padding=False)
                neighbours = gr.HTML(elem_id="neighbours", padding=False)
        gr.Markdown(f"## Test scores of the run\n\n{run.scores.markdown()}", elem_id="scores")
        gr.Markdown("\n\n".join(markdown_text(note) for note in run.notes))

        def of_file(file: dict[str, Any] | None) -> list[Any]:
            return _answered(run, Path(file["path"]) if file else None, gr.skip())

        def of_test_image(event: gr.SelectData) -> list[Any]:
            image, label = run.test_images[event.index], run.test_labels[event.index]
            return _answered(run, image, enlarged(image), truth_text(label, run.model.classes))

        outputs = [picture, message, probabilities, explanation, neighbours]
        alone: dict[str, Any] = {  # the model answers one picture at a time
            "concurrency_limit": 1,
            "concurrency_id": "model",
            "api_visibility": "private",
        }
        # Gradio's own preprocessing would fail on a file that is no picture.
        picture.input(of_file, picture, outputs, preprocess=False, **alone)
        tests.select(of_test_image, None, outputs, **alone)
    return blocks


@contextlib.contextmanager
def served(blocks: gr.Blocks, host: str, port: int) -> Iterator[str]:
    """Serve the page meanwhile; yields its address."""
    _, address, _ = blocks.launch(
        server_name=host,
        server_port=port,
        prevent_thread_lock=True,
        quiet=True,
        share=False,
        ssr_mode=False,
        pwa=False,
        footer_links=[],
        max_file_size=LARGEST_FILE,
        css_paths=CSS,
        theme=gr.themes.Base(font=FONTS, font_mono=FONTS),
        # Another site, whose name leads to this machine, is refused.
        app_kwargs={"middleware": [Middleware(TrustedHostMiddleware, [host, "localhost"])]},
    )
    try:
        yield address
    finally:
        blocks.close(verbose=False)


def enlarged(image: np.ndarray) -> np.ndarray:
    """Return (H, W, C) as RGB with whole pixels repeated, up to `SIDE` on the longer side."""
    times = max(1, SIDE // max(image.shape[:2]))
    return rgb_of(image).repeat(times, axis=0).repeat(times, axis=1)


def _test_images(run: Demonstrated) -> gr.Gallery:
    images = [
        (enlarged(image), truth_text(label, run.model.classes))
        for image, label in zip(run.test_images, run.test_labels, strict=True)
    ]
    if images:
        named = "labels" if run.model.task == "multi-label" else "class"
        gr.Markdown(f"Or choose one of the run's test images, here with its {named}:")
    return gr.Gallery(
        images,
        show_label=False,
        visible=bool(images),
        columns=4,
        height=430,
        allow_preview=False,
        interactive=False,
        buttons=[],
        format="png",
        elem_id="tests",
    )


def _answered(
    run: Demonstrated, given: Path | np.ndarray | None, picture: Any, class_name: str = ""
) -> list[Any]:
    """Return the values of picture, message, probabilities, explanation and neighbours."""
    if given is None:
        return [picture, "", None, "", ""]
    try:
        found = answer(run.model, given, run.training)
    except UserError as error:
        return [None, _message(str(error), "alert"), None, "", ""]
    several = run.model.task == "multi-label"
    said = answer_text(found.probabilities, run.model.classes, several=several)
    verdict = "correctly" if class_name == said else "wrongly"
    what = "with the labels" if several else "of the class"
    predicted = f" as {said}" if several else ""
    text = f"A test image {what} {class_name}, predicted {verdict}{predicted}."
    text = text if class_name else f"Predicted: {said}." if several else ""
    probabilities = map(float, found.probabilities)
    return [
        picture,
        _message(text, "status"),
        dict(zip(run.model.classes, probabilities, strict=True)),
        _explanation(run, found),
        _neighbours(found),
    ]


def _message(text: str, role: str) -> str:
    return f'<p role="{role}">{html.escape(text)}</p>' if text else ""


def _explanation(run: Demonstrated, found: Answer) -> str:
    name = run.model.classes[found.predicted]
    against = ", blue against it" if found.has_negative else ""
    return "<h3>Explanation</h3>" + _figures(
        [
            (found.seen, ["What the model gets"]),
            (found.overlay, [f"Red speaks for {name}{against}"]),
        ]
    )


def _neighbours(found: Answer) -> str:
    if not found.neighbours:
        return ""
    return "<h3>Most similar training images, with cosine similarity</h3>" + _figures(
        [(near.image, [near.class_name, fixed(near.similarity)]) for near in found.neighbours]
    )


def _figures(shown: Sequence[tuple[np.ndarray, Sequence[str]]]) -> str:
    """Return images in a row, each with the lines of its caption."""
    figures = [
        f'<figure><img src="{data_uri(_png(image))}" alt="{html.escape(lines[0])}">'
        f"<figcaption>{'<br>'.join(map(html.escape, lines))}</figcaption></figure>"
        for image, lines in shown
    ]
    return f'<div class="figures">{"".join(figures)}</div>'


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(enlarged(image)).save(buffer, "png")
    return buffer.getvalue()
