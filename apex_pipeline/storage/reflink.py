"""Shares the blocks of a file with a copy of it, where the file system can (Linux: Btrfs, XFS, bcachefs).

The copy takes no space and no time, and is independent: an edit of either file leaves the other as it was.
"""

import errno
import fcntl

# The request number of FICLONE in <linux/fs.h>; Python has no name for it.
_FICLONE = 0x40049409
# Not possible here: another file system, another device, or a system without the request. Other errors are real.
_IMPOSSIBLE = frozenset(
    {
        errno.EOPNOTSUPP,
        errno.EXDEV,
        errno.EINVAL,
        errno.ENOTTY,
        errno.ENOSYS,
        errno.EBADF,
        errno.EPERM,
        errno.ETXTBSY,
    }
)


def share_blocks(source: int, target: int) -> bool:
    """Make an empty file a copy of another one without copying bytes, and return whether that was possible.

    Args:
        source: Descriptor of the file, open for reading.
        target: Descriptor of the empty file, open for writing.

    Raises:
        OSError: The file system failed.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
    except OSError as error:
        if error.errno in _IMPOSSIBLE:
            return False
        raise
    return True
