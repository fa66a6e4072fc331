"""Optional dependencies: one place that knows them, and says how to install what is missing."""

from importlib.util import find_spec

from impasto.errors import ExtraError

#: Extra -> the modules that it installs.
EXTRAS = {
    "web": ("gradio", "fastapi", "uvicorn"),
    "heif": ("pillow_heif",),
    "video": ("av", "cv2"),
    "audio": ("soundfile",),
    "explain": ("sklearn", "jinja2"),
    "cluster": ("ray",),
    "export": ("onnx", "onnxscript", "onnxruntime"),
}


def is_installed(extra: str) -> bool:
    """Whether all modules of an extra can be imported."""
    return all(find_spec(module) for module in EXTRAS[extra])


def require_extra(extra: str, what: str) -> None:
    """Raise an ExtraError if a module of an extra is missing; `what` needs it."""
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise ExtraError(f"{what} needs {module}, which is not installed: pip install 'impasto[{extra}]'")
