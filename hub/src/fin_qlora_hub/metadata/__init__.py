"""Where the metadata is: tables, the database that holds them, its forms and locks."""
