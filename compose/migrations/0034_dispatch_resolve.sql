-- What a message costs the database on its way out.

-- Led by the id, which is unique alone: led by the tenant it was taken, by plans made while the table
-- was small, for looks by (tenant_id, code), and went through all workspaces of the tenant each time.
drop index dispatch.workspaces_id;
create unique index workspaces_id on dispatch.workspaces (id, tenant_id);
