"""An engine for an ordinary user, who needs to be the superuser somewhere: in a user namespace of their own.

    knarrd ──(starts, or finds)──► keeper            in the host's namespaces, as the user
       │  ◄── descriptors: user, mount, network ──┘    makes the namespaces, keeps them, opens the host's ports
       └─ joins them, and goes on as root's knarrd does

Nothing below `daemon/` knows of this package. What works otherwise inside a user namespace asks the kernel whether it
is in one (`kernel/user_namespaces.inside`), so that it is the same in anybody's user namespace.

Sources: user_namespaces(7), newuidmap(1), subuid(5), setns(2).
"""
