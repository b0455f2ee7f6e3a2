-- A question that people really asked, and whose answer they liked, finds its memory as those that were written do.
ALTER TABLE examples DROP CONSTRAINT examples_kind_check;
ALTER TABLE examples ADD CONSTRAINT examples_kind_check CHECK (kind IN ('cue', 'train', 'quiz', 'asked'));
