import io
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.db import OperationalError, connections
from django.utils import timezone
from pytest_django import Settings

from collections_app import outbox
from collections_app.management.commands import rotate_encryption_keys as command
from collections_app.models import Account, Channel, ChannelKind, OutgoingMail, Team, User
from collections_app.notifications.sending import rotate_secret
from collections_app.people.password_links import compose_mail, queue_password_link
from collections_app.system import encryption
from tests.support import commands, databases
from tests.support.meanwhile import ask_meanwhile
from tests.support.server import environment, manage
from tests.support.upstream import KEY, make_account
from tests.test_encryption import new_key


@pytest.fixture(autouse=True)
def data_dir(settings: Settings, tmp_path: Path) -> Path:
    """Use a separate data folder for the encryption keys."""
    settings.DATA_DIR = tmp_path
    return tmp_path


@pytest.fixture
def accounts(crawlers: Team, strangers: Team) -> list[Account]:
    """Two connected accounts and a disconnected one."""
    return [
        make_account(crawlers, "Shop A", key=f"{KEY}-a"),
        make_account(strangers, "Shop B", key=f"{KEY}-b"),
        make_account(strangers, "Shop C", key=""),
    ]


def rotate() -> str:
    output = io.StringIO()
    call_command("rotate_encryption_keys", stdout=output)
    return output.getvalue()


def readable() -> list[str]:
    return [account.key for account in Account.objects.exclude(encrypted_key="").order_by("pk")]


def tokens() -> list[str]:
    return [account.encrypted_key for account in Account.objects.order_by("pk")]


def test_all_keys_are_encrypted_with_a_new_one_and_the_old_ones_are_removed(accounts: list[Account]) -> None:
    before, [old] = tokens(), encryption.keys()
    assert rotate() == "Re-encrypted the keys of 2 accounts.\nRemoved the old encryption keys.\n"
    [new] = encryption.keys()
    assert new != old
    assert readable() == [f"{KEY}-a", f"{KEY}-b"]
    assert not set(before[:2]) & set(tokens())
    assert tokens()[2] == ""


def test_it_can_be_repeated(accounts: list[Account]) -> None:
    for _ in range(3):
        rotate()
        assert len(encryption.keys()) == 1
        assert readable() == [f"{KEY}-a", f"{KEY}-b"]


@pytest.mark.django_db
def test_without_accounts_only_the_key_changes() -> None:
    before = encryption.keys()
    assert "Re-encrypted the keys of 0 accounts." in rotate()
    assert encryption.keys() != before


def test_with_the_setting_everything_is_encrypted_with_the_first_key(
    crawlers: Team, settings: Settings, data_dir: Path
) -> None:
    old, new = new_key(), new_key()
    settings.ENCRYPTION_KEYS = [old]
    make_account(crawlers, "Shop A", key=KEY)
    settings.ENCRYPTION_KEYS = [new, old]
    assert rotate() == (
        "Re-encrypted the key of 1 account.\nYou can now remove all but the first key from ENCRYPTION_KEYS.\n"
    )
    settings.ENCRYPTION_KEYS = [new]
    assert readable() == [KEY]
    assert list(data_dir.iterdir()) == []


def test_an_account_that_can_not_be_decrypted_is_named_and_the_old_keys_stay(
    accounts: list[Account], settings: Settings
) -> None:
    settings.ENCRYPTION_KEYS = [new_key()]
    lost = encryption.encrypt("lost")
    settings.ENCRYPTION_KEYS = []
    Account.objects.filter(pk=accounts[0].pk).update(encrypted_key=lost)
    [old] = encryption.keys()
    with pytest.raises(CommandError) as error:
        rotate()
    assert str(error.value).startswith(
        "No encryption key can decrypt the keys of these accounts: Shop A of Crawlers. They were not "
        "changed, and the old encryption keys are kept."
    )
    assert tokens()[0] == lost
    assert accounts[1].key == f"{KEY}-b"
    assert encryption.keys()[1:] == [old]
    assert "canary" not in str(error.value)


def test_the_output_contains_no_key(accounts: list[Account]) -> None:
    before = encryption.keys()
    said = rotate()
    assert "canary" not in said
    assert not [key for key in before + encryption.keys() if key in said]


def test_queued_mail_is_still_sent(accounts: list[Account], settings: Settings, bob: User) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"
    queue_password_link(bob.email, site="http://testserver")
    rotate()
    assert outbox.send_next(compose_mail)
    assert [message.to for message in mail.outbox] == [["bob@example.com"]]


def test_the_secrets_of_channels_are_rotated(accounts: list[Account]) -> None:
    channel = Channel(team=accounts[0].team, kind=ChannelKind.WEBHOOK, name="Prices")
    channel.encrypted_url = encryption.encrypt("https://hooks.example.com/canary")
    channel.save()
    secrets = [rotate_secret(channel) for _ in range(2)]
    old = repr(Channel.objects.values())
    rotate()
    channel.refresh_from_db()
    assert channel.url == "https://hooks.example.com/canary"
    assert encryption.decrypt(channel.encrypted_secret) == secrets[1]
    assert encryption.decrypt(channel.encrypted_old_secret) == secrets[0]
    assert not {channel.encrypted_url, channel.encrypted_secret, channel.encrypted_old_secret} & {
        *old.split("'")
    }


def test_mail_queued_with_the_old_key_during_the_rotation_is_still_sent(
    accounts: list[Account], settings: Settings, bob: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings.EMAIL_URL = "smtp://mail.example.com"
    (old,) = encryption.keys()
    reencrypt = command._reencrypt_others

    def then_queue() -> None:
        reencrypt()
        monkeypatch.setattr(command, "_reencrypt_others", reencrypt)
        with monkeypatch.context() as late:
            late.setattr(encryption, "keys", lambda: [old])
            queue_password_link(bob.email, site="http://testserver")

    monkeypatch.setattr(command, "_reencrypt_others", then_queue)
    rotate()
    assert encryption.keys() != [old]
    assert outbox.send_next(compose_mail)
    assert len(mail.outbox) == 1


def test_mail_that_no_key_can_decrypt_does_not_prevent_the_rotation(accounts: list[Account]) -> None:
    now = timezone.now()
    OutgoingMail.objects.create(encrypted_data="x", due_at=now, expires_at=now)
    assert "Removed the old encryption keys." in rotate()


# --- stopped on the way -------------------------------------------------------------------------


@pytest.mark.parametrize("where", ["add_key", "reencrypt", "drop_old_keys"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_stopped_at_any_point_it_leaves_everything_readable_and_can_be_repeated(
    accounts: list[Account], monkeypatch: pytest.MonkeyPatch, where: str, when: str
) -> None:
    step = getattr(encryption, where)

    def stop(*args: str) -> None:
        if when == "after":
            step(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as stopped:
        stopped.setattr(encryption, where, stop)
        with pytest.raises(KeyboardInterrupt):
            rotate()
    assert readable() == [f"{KEY}-a", f"{KEY}-b"]
    rotate()
    assert readable() == [f"{KEY}-a", f"{KEY}-b"]
    assert len(encryption.keys()) == 1


KILLED = """
import os, signal
from django.core.management import call_command
from collections_app import outbox
from collections_app.system import encryption
from collections_app.people.password_links import compose_mail, queue_password_link
from collections_app.models import Account
step = encryption.{where}
def killed(*args):
    {first}
    os.kill(os.getpid(), signal.SIGKILL)
encryption.{where} = killed
call_command("rotate_encryption_keys")
"""
SET_UP = f"""
from collections_app.models import Account, OutgoingMail, Team, User
for number in range(3):
    account = Account(team=Team.objects.create(name=str(number)), name="Shop")
    account.set_key("{KEY}")
    account.save()
"""
READ = (
    "from collections_app.models import Account; "
    "print([each.key for each in Account.objects.exclude(encrypted_key='')])"
)


@pytest.mark.thorough
def test_killed_at_any_point_it_leaves_everything_readable_and_can_be_repeated(
    demo_data: Path, tmp_path: Path
) -> None:
    data = databases.copy(demo_data, tmp_path / "data")
    manage(data, "shell", "--no-imports", "-c", SET_UP)
    everything = f"{[KEY] * 3}\n"
    for where in ("add_key", "reencrypt", "drop_old_keys"):
        script = KILLED.format(where=where, first="step(*args)")
        done = commands.run(["shell", "--no-imports", "-c", script], environment(data))
        assert done.returncode == -signal.SIGKILL
        assert manage(data, "shell", "--no-imports", "-c", READ) == everything
    assert "Re-encrypted the keys of 3 accounts." in manage(data, "rotate_encryption_keys")
    assert manage(data, "shell", "--no-imports", "-c", READ) == everything
    assert len((data / "encryption_keys").read_text().split()) == 1


def test_a_full_disk_is_reported(accounts: list[Account], monkeypatch: pytest.MonkeyPatch) -> None:
    encryption.keys()

    def full(number: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as on_a_full_disk:
        on_a_full_disk.setattr(os, "fsync", full)
        with pytest.raises(CommandError, match=r"^The keys can't be written \(No space left on device\)"):
            rotate()
    assert readable() == [f"{KEY}-a", f"{KEY}-b"]


def test_a_damaged_key_file_is_reported(accounts: list[Account], data_dir: Path) -> None:
    (data_dir / "encryption_keys").write_text("damaged")
    with pytest.raises(CommandError, match="contains an invalid encryption key"):
        rotate()
    assert (data_dir / "encryption_keys").read_text() == "damaged"


def test_a_read_only_database_is_reported(accounts: list[Account], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise OperationalError("database is locked")

    monkeypatch.setattr(command, "_reencrypt", refuse)
    with pytest.raises(CommandError, match=r"^The database can't be used: database is locked\."):
        rotate()
    assert readable() == [f"{KEY}-a", f"{KEY}-b"]


# --- while others work --------------------------------------------------------------------------

at_once = pytest.mark.django_db(transaction=True)


@at_once
def test_a_key_that_is_entered_at_the_same_time_is_re_encrypted_too(accounts: list[Account]) -> None:
    def replace() -> None:
        accounts[0].set_key("another")
        accounts[0].save()

    said = ask_meanwhile(replace, rotate)
    assert "Re-encrypted the keys of 2 accounts." in said
    assert len(encryption.keys()) == 1
    assert readable() == ["another", f"{KEY}-b"]


@at_once
def test_several_rotations_at_once_leave_everything_readable(accounts: list[Account]) -> None:
    def rotated() -> str:
        try:
            return rotate()
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(rotated) for _ in range(8)]
    assert all("Removed the old encryption keys." in each.result() for each in done)
    assert len(encryption.keys()) == 1
    assert readable() == [f"{KEY}-a", f"{KEY}-b"]
