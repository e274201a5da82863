"""Real private servers for the tests: each starts on a free port of this host and dies with the test run.

A server that is not installed fails the run where `CI=true`; elsewhere the tests that need it are skipped,
saying why.
"""

from tests.servers.feature import FeatureServer
from tests.servers.mail import MailSink
from tests.servers.postgres import PostgresServer
from tests.servers.process import Missing
from tests.servers.proxy import TcpProxy
from tests.servers.redis import RedisServer
from tests.servers.sentry import SentrySink

__all__ = ["FeatureServer", "MailSink", "Missing", "PostgresServer", "RedisServer", "SentrySink", "TcpProxy"]
