"""Which rows make a batch: tasks mixed by a rule, work dealt out evenly, the same when resumed."""
