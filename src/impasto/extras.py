"""Optional dependencies: one place that knows them, and says how to install what is missing."""

from importlib.util import find_spec

from impasto.errors import ExtraError

#: Extra -> the modules that are imported -> the packages that they are in, as in pyproject.toml.
EXTRAS = {
    "web": {"gradio": "gradio>=6,<7", "pillow_heif": "pillow-heif>=0.16"},
    "heif": {"pillow_heif": "pillow-heif>=0.16"},
    "video": {"av": "av>=17", "cv2": "opencv-python-headless>=4.9"},
    "audio": {"soundfile": "soundfile>=0.12.1"},
    "explain": {"sklearn": "scikit-learn>=1.4", "jinja2": "jinja2>=3"},
    "cluster": {"ray": "ray>=2.59"},
    "export": {"onnx": "onnx>=1.17", "onnxscript": "onnxscript>=0.3", "onnxruntime": "onnxruntime>=1.20"},
}


def is_installed(extra: str) -> bool:
    """Whether all modules of an extra can be imported."""
    return all(find_spec(module) for module in EXTRAS[extra])


def install_command(extra: str) -> str:
    """The command that installs the packages of an extra, in a clone as beside an installed wheel.

    It names the packages: `pip install impasto[web]` would look for impasto itself on an index. Double quotes are
    quotes in every shell, those of Windows included.
    """
    return " ".join(["pip install", *(f'"{package}"' for package in EXTRAS[extra].values())])


def require_extra(extra: str, what: str) -> None:
    """Raise an ExtraError if a module of an extra is missing; `what` needs it."""
    for module in EXTRAS[extra]:
        if find_spec(module) is None:
            raise ExtraError(f"{what} needs {module}, which is not installed: {install_command(extra)}")
