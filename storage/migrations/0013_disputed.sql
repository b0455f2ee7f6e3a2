-- Where the side that stands in a dispute goes, nothing holds the other back any more: it is told again at once.
CREATE FUNCTION nightschool_end_dispute() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  UPDATE memories SET conflict = NULL, against = NULL WHERE team_id = NEW.team_id AND against = NEW.id;
  RETURN NULL;
END $$;
CREATE TRIGGER end_dispute AFTER UPDATE OF reason ON memories FOR EACH ROW WHEN (OLD.reason IS NULL AND NEW.reason IS NOT NULL)
  EXECUTE FUNCTION nightschool_end_dispute();
