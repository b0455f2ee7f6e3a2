"""The only room that speaks SQL: PostgreSQL and the files of adapters. It knows no other room."""
