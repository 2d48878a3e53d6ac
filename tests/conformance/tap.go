// Package tap writes the Test Anything Protocol, version 13: as much of the package of that name as the validation
// programs of OCI runtime-tools call. It stands in for one that Debian does not have.
package tap

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
)

// T is one producer of results.
type T struct {
	Writer io.Writer
	count  *int
	remark string
}

// New writes to standard output.
func New() *T { return &T{count: new(int), remark: "-"} }

// Todo is the same producer for results that are not expected to be good.
func (t *T) Todo() *T { return &T{t.Writer, t.count, "# TODO"} }

func (t *T) printf(format string, arguments ...interface{}) {
	writer := t.Writer
	if writer == nil {
		writer = os.Stdout
	}
	fmt.Fprintf(writer, format, arguments...)
}

// Header begins; where the number of tests is not known yet it is 0 here and AutoPlan says it at the end.
func (t *T) Header(tests int) {
	t.printf("TAP version 13\n")
	if tests > 0 {
		t.printf("1..%d\n", tests)
	}
}

// AutoPlan tells how many results there were.
func (t *T) AutoPlan() { t.printf("1..%d\n", *t.count) }

// Ok is a result.
func (t *T) Ok(passed bool, description string) {
	*t.count++
	word := "ok"
	if !passed {
		word = "not ok"
	}
	t.printf("%s %d %s %s\n", word, *t.count, t.remark, description)
}

// Pass is a good result.
func (t *T) Pass(description string) { t.Ok(true, description) }

// Fail is a bad result.
func (t *T) Fail(description string) { t.Ok(false, description) }

// Skip is `count` results that were not looked for.
func (t *T) Skip(count int, description string) {
	for ; count > 0; count-- {
		*t.count++
		t.printf("ok %d # SKIP %s\n", *t.count, description)
	}
}

// Diagnostic is a remark.
func (t *T) Diagnostic(message string) { t.printf("# %s\n", strings.ReplaceAll(message, "\n", "\n# ")) }

// Diagnosticf is a remark with a format.
func (t *T) Diagnosticf(format string, arguments ...interface{}) {
	t.Diagnostic(fmt.Sprintf(format, arguments...))
}

// YAML is a remark that programs can read: JSON, which is YAML.
func (t *T) YAML(message interface{}) error {
	text, err := json.MarshalIndent(message, "  ", "  ")
	if err != nil {
		return err
	}
	t.printf("  ---\n  %s\n  ...\n", text)
	return nil
}
