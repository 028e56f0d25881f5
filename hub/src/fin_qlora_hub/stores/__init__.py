"""Where bytes are kept: each store on the local disk, and in a bucket of an object store."""
