package pop3

import (
	"testing"

	"go.uber.org/goleak"

	"usher/internal/transcript"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestTranscripts(t *testing.T) { transcript.Run(t, Protocol{}) }
