"""The version, apart from the package, so that modules that store it need not import everything."""

__version__ = "0.1.0"
