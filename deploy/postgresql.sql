-- The role and the database of the site, made when the volume is new. The role owns its database, and is no superuser.
\getenv password RESULTS_PASSWORD
CREATE ROLE results LOGIN PASSWORD :'password';
CREATE DATABASE results OWNER results TEMPLATE template0 ENCODING 'UTF8';
