"""The browser's side of darklens: laboratory, prediction page, vetting room, and the HTTP API beneath them.

`create_app` in `darklens.serve.app` puts it together; nothing here loads FastAPI before a server is asked for.
"""

from darklens.serve.running import address_of, run_server
from darklens.serve.settings import Limits, Settings

__all__ = ["Limits", "Settings", "address_of", "run_server"]
