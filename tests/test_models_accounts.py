import pytest
from django.db import IntegrityError, connection
from django.db.models import ProtectedError
from pytest_django import Settings

from collections_app.models import Account, Collection, NotConnected, Team
from collections_app.system import encryption
from tests.support.upstream import KEY, make_account
from tests.test_encryption import new_key


@pytest.fixture(autouse=True)
def keys(settings: Settings) -> list[str]:
    """Encryption keys for this test only."""
    settings.ENCRYPTION_KEYS = [new_key()]
    return list(settings.ENCRYPTION_KEYS)


@pytest.fixture
def account(crawlers: Team) -> Account:
    return make_account(crawlers)


class TestKey:
    def test_the_key_is_encrypted_in_the_database(self, account: Account) -> None:
        assert Account.objects.get().key == KEY
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM collections_app_account")
            assert "canary" not in repr(cursor.fetchall())

    def test_the_key_is_in_no_text_of_the_account(self, account: Account) -> None:
        assert KEY not in f"{account} {account!r} {vars(account)}"

    @pytest.mark.parametrize(
        ("key", "masked"),
        [(KEY, "••••••••cdef"), ("x" * 15, "••••••••"), ("x" * 12 + "abcd", "••••••••abcd"), ("", "")],
    )
    def test_only_the_last_characters_of_a_long_key_are_shown(
        self, account: Account, key: str, masked: str
    ) -> None:
        account.set_key(key)
        assert account.masked_key == masked

    def test_setting_the_key_does_not_save(self, account: Account) -> None:
        account.set_key("another")
        assert Account.objects.get().key == KEY

    def test_without_a_key_the_error_says_what_to_do(self, account: Account) -> None:
        account.set_key("")
        assert not account.is_connected
        with pytest.raises(NotConnected) as error:
            _ = account.key
        assert str(error.value) == (
            "The account “MultiCartAPI” is disconnected. Ask an admin to enter a new key."
        )

    def test_with_an_unreadable_key_the_error_says_what_to_do(
        self, account: Account, settings: Settings
    ) -> None:
        settings.ENCRYPTION_KEYS = [new_key()]
        with pytest.raises(NotConnected) as error:
            _ = account.key
        assert str(error.value) == (
            "The key of the account “MultiCartAPI” can no longer be read. Ask an admin to enter it again."
        )
        assert error.value.__suppress_context__

    def test_a_rotation_since_the_row_was_read_does_no_harm(
        self, account: Account, settings: Settings, keys: list[str]
    ) -> None:
        read_before = Account.objects.get()
        settings.ENCRYPTION_KEYS = [new_key(), *keys]
        Account.objects.update(encrypted_key=encryption.reencrypt(account.encrypted_key))
        settings.ENCRYPTION_KEYS = settings.ENCRYPTION_KEYS[:1]
        assert read_before.key == KEY


class TestConstraints:
    @pytest.mark.parametrize("fields", [{"name": ""}, {"base_url": ""}, {"name": "MultiCartAPI"}])
    def test_the_database_refuses(self, account: Account, fields: dict[str, str]) -> None:
        with pytest.raises(IntegrityError):
            Account.objects.create(**{"team": account.team, "name": "Shop A"} | fields)

    def test_a_name_is_free_in_another_team(self, account: Account, strangers: Team) -> None:
        assert Account.objects.create(team=strangers, name=account.name)

    @pytest.mark.parametrize("fields", [{"remote_id": None}, {"account": None}])
    def test_a_collection_has_an_account_and_an_id_or_neither(
        self, account: Account, fields: dict[str, None]
    ) -> None:
        with pytest.raises(IntegrityError):
            Collection.objects.create(
                **{"team": account.team, "name": "A", "account": account, "remote_id": 7} | fields
            )

    def test_an_id_is_unique_per_account(self, account: Account) -> None:
        Collection.objects.create(team=account.team, name="A", account=account, remote_id=7)
        with pytest.raises(IntegrityError):
            Collection.objects.create(team=account.team, name="B", account=account, remote_id=7)

    def test_an_account_with_collections_cannot_be_deleted(self, account: Account) -> None:
        Collection.objects.create(team=account.team, name="A", account=account, remote_id=7)
        with pytest.raises(ProtectedError):
            account.delete()
