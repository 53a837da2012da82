package main

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/url"
	"slices"
	"strings"

	"github.com/muster-gitops/muster/clusters/finding"
)

// The part of SARIF 2.1.0 that Muster writes
// (https://docs.oasis-open.org/sarif/sarif/v2.1.0/sarif-v2.1.0.html).
type (
	sarifLog struct {
		Schema  string     `json:"$schema"`
		Version string     `json:"version"`
		Runs    []sarifRun `json:"runs"`
	}
	sarifRun struct {
		Tool    sarifTool     `json:"tool"`
		Results []sarifResult `json:"results"`
		// ColumnKind is the unit of columns: code points.
		ColumnKind string `json:"columnKind"`
	}
	sarifTool struct {
		Driver sarifDriver `json:"driver"`
	}
	sarifDriver struct {
		Name           string      `json:"name"`
		Version        string      `json:"version"`
		InformationURI string      `json:"informationUri"`
		Rules          []sarifRule `json:"rules"`
	}
	sarifRule struct {
		ID                   finding.Code       `json:"id"`
		ShortDescription     sarifText          `json:"shortDescription"`
		FullDescription      sarifText          `json:"fullDescription"`
		Help                 sarifText          `json:"help"`
		DefaultConfiguration sarifConfiguration `json:"defaultConfiguration"`
	}
	sarifConfiguration struct {
		Level string `json:"level"`
	}
	sarifResult struct {
		RuleID              finding.Code       `json:"ruleId"`
		RuleIndex           int                `json:"ruleIndex"`
		Level               string             `json:"level"`
		Message             sarifText          `json:"message"`
		Locations           []sarifLocation    `json:"locations"`
		PartialFingerprints map[string]string  `json:"partialFingerprints"`
		Suppressions        []sarifSuppression `json:"suppressions,omitempty"`
	}
	// sarifSuppression marks a finding that is accepted in its file.
	sarifSuppression struct {
		Kind          string `json:"kind"`
		Status        string `json:"status"`
		Justification string `json:"justification"`
	}
	sarifText struct {
		Text string `json:"text"`
	}
	sarifLocation struct {
		PhysicalLocation sarifPhysical `json:"physicalLocation"`
	}
	sarifPhysical struct {
		ArtifactLocation sarifArtifact `json:"artifactLocation"`
		Region           *sarifRegion  `json:"region,omitempty"`
	}
	sarifArtifact struct {
		URI       string `json:"uri"`
		URIBaseID string `json:"uriBaseId"`
	}
	sarifRegion struct {
		StartLine   int `json:"startLine"`
		StartColumn int `json:"startColumn,omitempty"`
	}
)

var sarifLevel = map[finding.Severity]string{finding.Error: "error", finding.Warning: "warning", finding.Info: "note"}

// sarif returns a log of one run, with the findings and the rules that they break.
func sarif(findings []finding.Finding) sarifLog {
	index := map[finding.Code]int{}
	for _, f := range findings {
		index[f.Code] = 0
	}
	driver := sarifDriver{Name: "muster", Version: shortVersion(), InformationURI: "https://github.com/muster-gitops/muster", Rules: []sarifRule{}}
	for i, code := range slices.Sorted(maps.Keys(index)) {
		index[code] = i
		driver.Rules = append(driver.Rules, sarifRuleOf(code))
	}
	run := sarifRun{Tool: sarifTool{driver}, ColumnKind: "unicodeCodePoints", Results: []sarifResult{}}
	for _, f := range findings {
		var suppressions []sarifSuppression
		if f.Accepted != "" {
			suppressions = []sarifSuppression{{Kind: "inSource", Status: "accepted", Justification: f.Accepted}}
		}
		run.Results = append(run.Results, sarifResult{RuleID: f.Code, RuleIndex: index[f.Code], Level: sarifLevel[f.Severity],
			Message: sarifText{textOf(f)}, Locations: sarifLocations(f), PartialFingerprints: map[string]string{"muster/v1": fingerprint(f)}, Suppressions: suppressions})
	}
	return sarifLog{Schema: "https://json.schemastore.org/sarif-2.1.0.json", Version: "2.1.0", Runs: []sarifRun{run}}
}

// sarifRuleOf is the catalogue's entry for a code.
func sarifRuleOf(code finding.Code) sarifRule {
	rule, ok := finding.RuleOf(code)
	if !ok {
		text := sarifText{string(code)}
		return sarifRule{ID: code, ShortDescription: text, FullDescription: text, Help: text, DefaultConfiguration: sarifConfiguration{sarifLevel[finding.Error]}}
	}
	return sarifRule{ID: code, ShortDescription: sarifText{sentence(rule.Cause)}, FullDescription: sarifText{rule.Cause},
		Help:                 sarifText{"Fix: " + rule.Fix + ".\n\nExample:\n\n" + rule.Example},
		DefaultConfiguration: sarifConfiguration{sarifLevel[rule.Severities[0]]}}
}

// sentence is the first clause of a cause, for places that show one short line.
func sentence(cause string) string {
	for _, end := range []string{"; ", ": ", ". "} {
		if first, _, more := strings.Cut(cause, end); more {
			cause = first + "."
		}
	}
	return cause
}

// sarifLocations is the place of a finding. There is always one: GitHub rejects results without a location.
func sarifLocations(f finding.Finding) []sarifLocation {
	uri := url.URL{Path: f.Path} // escapes what a file name may contain and a URI may not
	if f.Path == "" {
		uri.Path = "."
	}
	at := sarifPhysical{ArtifactLocation: sarifArtifact{URI: uri.String(), URIBaseID: "%SRCROOT%"}}
	if f.Line > 0 {
		at.Region = &sarifRegion{StartLine: f.Line, StartColumn: f.Column}
	}
	return []sarifLocation{{at}}
}

// fingerprint identifies a finding across commits that only move it to another line.
func fingerprint(f finding.Finding) string {
	sum := sha256.Sum256([]byte(strings.Join([]string{string(f.Code), f.Path, f.Cluster, f.Message}, "\x00")))
	return hex.EncodeToString(sum[:16])
}
