"""Projects: a folder each, with its own files, traces, budget and state."""

from __future__ import annotations

from llmos_workers.contracts.errors import InvalidOption
from llmos_workers.contracts.goal import PROJECT_NAME
from llmos_workers.kernel.workspace import ProjectFolder, Workspace


class ProjectManager:
    """Makes and lists the projects of a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace

    def create_project(self, name: str) -> ProjectFolder:
        """The project's folders, made when missing. Raises InvalidOption, WorkspaceUnwritable."""
        return self.workspace.project(name)

    def get_project(self, name: str) -> ProjectFolder:
        """A project that exists. Raises InvalidOption otherwise."""
        folder = self.workspace.peek(name)
        if not folder.root.is_dir():
            known = ", ".join(project.name for project in self.list_projects()) or "none yet"
            raise InvalidOption(f"there is no project {name!r}.", fix=f"Projects: {known}.")
        return folder

    def list_projects(self) -> list[ProjectFolder]:
        """All projects, by name."""
        if not self.workspace.projects.is_dir():
            return []
        return [
            ProjectFolder(entry.name, entry)
            for entry in sorted(self.workspace.projects.iterdir())
            if entry.is_dir() and not entry.is_symlink() and PROJECT_NAME.fullmatch(entry.name)
        ]
