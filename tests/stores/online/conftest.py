"""The shop of ``tests.stores.online``, on each online store."""

from tests.stores.online.fixtures import opened_shop, redis, shop

__all__ = ["opened_shop", "redis", "shop"]
