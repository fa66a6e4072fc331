"""Parts that the page is made of: fields for pictures, and the line that says where things stand."""

from __future__ import annotations

import html
from typing import Any

import gradio as gr


def upload(label: str, **given: Any) -> gr.Image:
    """A picture that a visitor gives: handed on as the file that it is, so that our own reader reads it."""
    component = gr.Image(label=label, type="filepath", image_mode=None, buttons=[], **given)
    component.preprocess = lambda payload: payload and payload.path
    return component


def mask_editor(label: str, **given: Any) -> gr.ImageMask:
    """An editor to draw masks with, of which only what was drawn is read: the photo below it is given elsewhere."""
    component = gr.ImageMask(label=label, sources=[], layers=False, transforms=[], type="numpy", buttons=[], **given)
    whole = component.preprocess

    def drawn(payload: Any) -> Any:
        for part in (payload, component.blob_storage.get(payload.id) if payload and payload.id else None):
            if part is not None:
                part.background = part.composite = None
        return whole(payload)

    component.preprocess = drawn
    return component


def status_of(text: str, share: float | None = None, bad: bool = False) -> str:
    """A line that says where things stand, with a bar if there is a share; read out by screen readers."""
    bar = "" if share is None else f'<progress max="1" value="{share:.3f}" aria-label="done"></progress>'
    kind = "alert" if bad else "status"
    return f'<div class="status{" bad" if bad else ""}" role="{kind}">{bar}<span>{html.escape(text)}</span></div>'
