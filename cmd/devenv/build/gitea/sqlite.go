package main

import (
	"database/sql"
	"database/sql/driver"
	"net/url"
	"strings"

	"code.gitea.io/gitea/modules/setting"
	"modernc.org/sqlite"
)

// init does what Gitea's database_sqlite.go does under its build tag, with another driver of the same name.
func init() {
	sql.Register("sqlite3", sqliteDriver{&sqlite.Driver{}})
	setting.EnableSQLite3 = true
	setting.SupportedDatabaseTypes = append(setting.SupportedDatabaseTypes, "sqlite3")
}

// sqliteDriver takes the addresses that Gitea writes for mattn/go-sqlite3.
type sqliteDriver struct{ driver.Driver }

// Open translates the parameters that the two drivers spell differently. The shared cache is left out: it needs
// sqlite3_unlock_notify, without which a reader beside a writer gets an error instead of waiting.
func (d sqliteDriver) Open(name string) (driver.Conn, error) {
	path, rawQuery, _ := strings.Cut(name, "?")
	given, err := url.ParseQuery(rawQuery)
	if err != nil {
		return nil, err
	}
	query := url.Values{"mode": {"rwc"}, "_txlock": given["_txlock"]}
	for _, pragma := range []string{"busy_timeout", "journal_mode"} {
		if value := given.Get("_" + pragma); value != "" {
			query.Add("_pragma", pragma+"("+value+")")
		}
	}
	query.Add("_pragma", "synchronous(off)") // the data doesn't outlive the test
	return d.Driver.Open(path + "?" + query.Encode())
}
