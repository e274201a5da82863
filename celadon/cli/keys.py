"""Keys of programs that use the API."""

from __future__ import annotations

import click

from celadon.cli.groups import Group


@click.group(cls=Group)
def keys() -> None:
    """Keys of programs that use the API: make, list and revoke them."""


@keys.command("create")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, help="produce, read or operate; may be repeated.")
def create_key(name: str, scopes: tuple[str, ...]) -> None:
    """Make a key and print it. It can't be shown again: only its hash is kept."""
    from celadon.ledger import apikeys

    text, _ = apikeys.create(name, scopes, actor="command")
    click.echo(text)


@keys.command("list")
def list_keys() -> None:
    """List all keys with what they may do, also those revoked."""
    from celadon.ledger import apikeys

    for key in apikeys.every():
        used = f"used {key.last_used_at:%Y-%m-%d %H:%M}" if key.last_used_at else "never used"
        ended = f"  revoked {key.revoked_at:%Y-%m-%d %H:%M}" if key.revoked_at else ""
        click.echo(f"{key.id}  {','.join(sorted(key.scopes))}  {key.name}  {used}{ended}")


@keys.command("revoke")
@click.argument("key_id", metavar="ID")
def revoke_key(key_id: str) -> None:
    """End a key; it stops within a second. `celadon keys list` shows the ids."""
    from celadon.ledger import apikeys

    apikeys.revoke(key_id, actor="command")
    click.echo(f"{key_id}: revoked")
