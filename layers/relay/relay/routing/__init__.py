"""From the Changes queue to the destination queues: merge changes into the store, ask for a look at whom they concern.

The modules are the steps, in this order:

    read       messages -> changes; what cannot be read fails alone
    coalesce   changes -> customers: whoever shares an id is one customer
    merge      a customer's changes and what is stored -> the profile as it will be
    write      segment catalogue and index, profile, aliases
    ask        a look, for every export that streams one of the customer's segments
    count      what became of each change

`router` runs them, and does a batch that meets a defect again in halves.

Each step leaves the store such that dying after it loses nothing, because the message comes back:

    died after the index   an entry too many: one look in vain
    the profile            the change is in the store, nobody was asked to look. It comes again and changes nothing, but
                           its profile was written since it was received: that is reason enough for a look
    an alias               the same: its item was written since
    the looks              they come twice
    the count              the message is counted again: as received again, and as stale
"""
