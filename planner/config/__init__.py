"""Configuration: what users write, checked as a whole, and turned into the core's settings.

    loaded = load_config(Path("planner.yaml"), os.environ, {"--ttft": "200"})
    settings = build_settings(loaded)

`model` says what may be written, `catalogue` under which names, `sources` reads it, `tree` lays sources and services
over one another and remembers who gave what, `rules` holds what sections must agree on, `load` puts it together.
"""

from planner.config.build import build_settings, settings_from_document
from planner.config.load import DEFAULT_SERVICE, LoadedConfig, config_from_document, load_config
from planner.config.mistakes import ConfigError

__all__ = [
    "DEFAULT_SERVICE",
    "ConfigError",
    "LoadedConfig",
    "build_settings",
    "config_from_document",
    "load_config",
    "settings_from_document",
]
