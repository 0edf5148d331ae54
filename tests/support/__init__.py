"""What tests share: models, compilers, devices made of programs, documented commands."""
