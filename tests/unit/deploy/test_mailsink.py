"""The demo's mail server: a real SMTP conversation, every message kept, repeats too."""

import signal
import smtplib
import subprocess
import sys
from email.message import EmailMessage
from pathlib import Path

from deploy.demo_report import kept_mail
from deploy.supervision import free_ports, listening, until


def test_every_message_is_kept_in_a_file_of_its_own(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    folder = tmp_path / "mail"
    command = [sys.executable, "-m", "deploy.mailsink", "--port", str(port), "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as sink:
        try:
            until("it listens", lambda: listening(port), within_s=10)
            for _ in range(2):
                message = EmailMessage()
                message["From"], message["To"] = "a@example.org", "b@example.org"
                message["Message-ID"] = "<1@x>"
                message.set_content("¡Hola!\n.\nEnd")
                with smtplib.SMTP("127.0.0.1", port) as server:
                    server.send_message(message)
        finally:
            sink.send_signal(signal.SIGTERM)
        assert sink.wait(10) == 0
    assert sorted(file.name for file in folder.iterdir()) == ["00001.eml", "00002.eml"]
    assert [str(mail["Message-ID"]) for mail in kept_mail(folder)] == ["<1@x>"] * 2
    assert kept_mail(folder)[0].get_content().splitlines() == ["¡Hola!", ".", "End"]
