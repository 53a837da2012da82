package server

// giteaSettings disable what needs the network, other programs or time: mail, avatars, actions, packages, update checks,
// slow hashes. Without the first line Gitea refuses to run as root, which CI containers do.
const giteaSettings = `I_AM_BEING_UNSAFE_RUNNING_AS_ROOT = true
APP_NAME = Gitea
RUN_USER = {user}
RUN_MODE = prod
WORK_PATH = {dir}
[server]
PROTOCOL = http+unix
HTTP_ADDR = {socket}
ROOT_URL = {url}/
STATIC_ROOT_PATH = {static}
DISABLE_SSH = true
LFS_START_SERVER = false
OFFLINE_MODE = true
[database]
DB_TYPE = sqlite3
PATH = {dir}/gitea.db
SQLITE_JOURNAL_MODE = WAL
SQLITE_TIMEOUT = 20000
[security]
INSTALL_LOCK = true
SECRET_KEY = {random}
INTERNAL_TOKEN = {random}
PASSWORD_HASH_ALGO = pbkdf2$1$16
[service]
DISABLE_REGISTRATION = true
[webhook]
ALLOWED_HOST_LIST = *
SKIP_TLS_VERIFY = true
[queue]
TYPE = channel
[indexer]
ISSUE_INDEXER_TYPE = db
[repository]
ROOT = {dir}/repositories
DEFAULT_BRANCH = main
[git]
HOME_PATH = {dir}/home
[git.config]
gc.auto = 0
[actions]
ENABLED = false
[packages]
ENABLED = false
[oauth2]
ENABLED = false
[cron]
ENABLED = false
[cron.update_checker]
ENABLED = false
[log]
MODE = console
LEVEL = Warn
`
