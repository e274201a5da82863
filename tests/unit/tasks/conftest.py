from tests.unit.web.conftest import app, client, configure, kind

__all__ = ["app", "client", "configure", "kind"]
