"""Labels and annotations of Argo Workflows (workflow/common/common.go there)."""

from __future__ import annotations

PREFIX = "workflows.argoproj.io/"
PHASE = f"{PREFIX}phase"
COMPLETED = f"{PREFIX}completed"
ARCHIVING = f"{PREFIX}workflow-archiving-status"
INSTANCE = f"{PREFIX}controller-instanceid"
RESUBMITTED_FROM = f"{PREFIX}resubmitted-from-workflow"
SCHEDULED_TIME = f"{PREFIX}scheduled-time"
POD_NAMES = f"{PREFIX}pod-name-format"
CREATOR = f"{PREFIX}creator"  # and with -email, -preferred-username
TEMPLATE_LABELS = {
    "WorkflowTemplate": f"{PREFIX}workflow-template",
    "ClusterWorkflowTemplate": f"{PREFIX}cluster-workflow-template",
    "CronWorkflow": f"{PREFIX}cron-workflow",
}
OF_ANOTHER_RUN = (PHASE, COMPLETED, ARCHIVING)  # with them, the controller takes a new workflow for one that has ended
CHANGES = "kubecdc.io/changes"  # which changes were made, so that a repeated event makes none twice
LONGEST_NAME = 63  # characters: the controller refuses longer ones
