"""One page of results, to be looked at and listened to."""
