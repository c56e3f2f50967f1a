-- What a document is about: where several are about the same, the newest of them are found without the others.
ALTER TABLE documents ADD COLUMN topic TEXT;
UPDATE documents SET topic = json_extract(body, '$.metadata.key') WHERE kind = 'artifact';
CREATE INDEX documents_by_topic ON documents (kind, topic, updated) WHERE topic IS NOT NULL;

-- Lists without iterations do not read past them. A list with them merges both, as one without a state merges states.
DROP INDEX runs_by_project;
DROP INDEX runs_by_state;
DROP INDEX runs_by_name;
DROP INDEX runs_by_function;
CREATE INDEX runs_by_project ON runs (project, state, iteration > 0, created);
CREATE INDEX runs_by_state ON runs (state, iteration > 0, created);
CREATE INDEX runs_by_name ON runs (name, iteration > 0, created);
CREATE INDEX runs_by_function ON runs (function, iteration > 0, created);
