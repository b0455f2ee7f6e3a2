-- Who is in a channel is read from its surface, which takes a while: what was read before somebody left is not to be kept after.

-- `changes`: how often we were told that somebody came or went.
ALTER TABLE channels ADD COLUMN changes bigint NOT NULL DEFAULT 0;
