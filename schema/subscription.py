"""The subscriptions."""

import strawberry

from schema.progress import RefreshProgress


@strawberry.type(description="What can be listened to.")
class Subscription(RefreshProgress):
    pass
