-- Every edge of the ancestry of an artifact, back to the problems.
-- key = required: key of the artifact
-- version = required: its version
-- reads all versions
with recursive ancestry as (
    select child_key, child_version, parent_key, parent_version
    from lineage where child_key = $key and child_version = $version
    union
    select l.child_key, l.child_version, l.parent_key, l.parent_version
    from ancestry a join lineage l on l.child_key = a.parent_key and l.child_version = a.parent_version
)
select * from ancestry
order by all
