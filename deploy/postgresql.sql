-- Create the site's role and database when the volume is new. The role owns its database but isn't a superuser.
\getenv password RESULTS_PASSWORD
CREATE ROLE results LOGIN PASSWORD :'password';
CREATE DATABASE results OWNER results TEMPLATE template0 ENCODING 'UTF8';
