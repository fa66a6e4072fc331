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
#: Extra -> the packages that it installs, as in pyproject.toml.
PACKAGES = {
    "web": ("gradio>=6,<7",),
    "heif": ("pillow-heif>=0.16",),
    "video": ("av>=17", "opencv-python-headless>=4.9"),
    "audio": ("soundfile>=0.12.1",),
    "explain": ("scikit-learn>=1.4", "jinja2>=3"),
    "cluster": ("ray>=2.59",),
    "export": ("onnx>=1.17", "onnxscript>=0.3", "onnxruntime>=1.20"),
}


def is_installed(extra: str) -> bool:
    """Whether all modules of an extra can be imported."""
    return all(find_spec(module) for module in EXTRAS[extra])


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra, in a clone as beside an installed wheel.

    It names the packages: `pip install impasto[web]` would look for impasto itself on an index. Double quotes are
    quotes in every shell, those of Windows included.
    """
    return " ".join(["pip install", *(f'"{package}"' for package in PACKAGES[extra])])


def require_extra(extra: str, what: str) -> None:
    """Raise an ExtraError if a module of an extra is missing; `what` needs it."""
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise ExtraError(f"{what} needs {module}, which is not installed: {install_command(extra)}")
