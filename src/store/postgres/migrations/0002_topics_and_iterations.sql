-- What a document is about: where several are about the same, the newest of them are found without the others.
ALTER TABLE documents ADD COLUMN topic text COLLATE "C";
UPDATE documents SET topic = body::jsonb #>> '{metadata,key}' WHERE kind = 'artifact';
CREATE INDEX documents_by_topic ON documents (kind, topic, updated, id) WHERE topic IS NOT NULL;

-- Lists without iterations do not read past them.
CREATE INDEX runs_whole_by_time ON runs (created, id) WHERE iteration = 0;
CREATE INDEX runs_whole_by_project ON runs (project, state, created, id) WHERE iteration = 0;
