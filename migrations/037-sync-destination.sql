-- Whether an Application deploys to another cluster than its own, where it says: what a hub's objects are looked for by.
alter table syncs add column remote boolean;
