"""How people, programs and jobs sign in: by a code, at their institution, by an identity token."""
