-- A dispute knows its other side, so that people can settle it, and a memory when the weights learnt it.

-- `against`: the memory that stands in the dispute in which this one is held back.
ALTER TABLE memories ADD COLUMN against bigint, ADD COLUMN learnt_at timestamptz,
  ADD FOREIGN KEY (team_id, against) REFERENCES memories ON DELETE SET NULL (against);
CREATE INDEX memories_against ON memories (team_id, against) WHERE against IS NOT NULL;
