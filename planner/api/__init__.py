"""The HTTP side of a running planner: what it shows, what people order of it, what launchers and scrapers ask.

The planner is behind the protocols of `seams`; `app` puts the routes together. Nothing here decides anything.
"""

from planner.api.app import create_app
from planner.api.security import Security

__all__ = ["Security", "create_app"]
