"""The answers of the Engine API as types. Only what this client's users look at; an engine may send more."""

from __future__ import annotations

from typing import Any, TypedDict


class CreatedContainer(TypedDict):
    Id: str
    Warnings: list[str]


class CreatedExec(TypedDict):
    Id: str


class WaitError(TypedDict):
    Message: str


class _WaitStatus(TypedDict):
    StatusCode: int


class WaitResult(_WaitStatus, total=False):
    Error: WaitError | None


class TopResult(TypedDict):
    Titles: list[str]
    Processes: list[list[str]] | None


class PathStat(TypedDict):
    name: str
    size: int
    mode: int
    mtime: str
    linkTarget: str


class FileChange(TypedDict):
    Path: str
    Kind: int


class CommittedImage(TypedDict):
    Id: str


class SearchResult(TypedDict):
    name: str
    description: str | None
    star_count: int
    is_official: bool
    is_automated: bool


class LoginStatus(TypedDict, total=False):
    Status: str
    IdentityToken: str


class PruneReport(TypedDict, total=False):
    ContainersDeleted: list[str] | None
    ImagesDeleted: list[DeletedImage] | None
    VolumesDeleted: list[str] | None
    NetworksDeleted: list[str] | None
    CachesDeleted: list[str] | None
    SpaceReclaimed: int


class _Port(TypedDict):
    PrivatePort: int
    Type: str


class Port(_Port, total=False):
    IP: str
    PublicPort: int


class ContainerSummary(TypedDict, total=False):
    Id: str
    Names: list[str]
    Image: str
    ImageID: str
    Command: str
    Created: int
    Ports: list[Port]
    SizeRw: int
    SizeRootFs: int
    Labels: dict[str, str] | None
    State: str
    Status: str
    HostConfig: dict[str, Any]
    NetworkSettings: dict[str, Any]
    Mounts: list[dict[str, Any]]


class ContainerState(TypedDict, total=False):
    Status: str
    Running: bool
    Paused: bool
    Restarting: bool
    OOMKilled: bool
    Dead: bool
    Pid: int
    ExitCode: int
    Error: str
    StartedAt: str
    FinishedAt: str
    Health: dict[str, Any]


class ContainerInspect(TypedDict, total=False):
    Id: str
    Name: str
    Created: str
    Path: str
    Args: list[str]
    State: ContainerState
    Image: str
    Config: dict[str, Any]
    HostConfig: dict[str, Any]
    NetworkSettings: dict[str, Any]
    Mounts: list[dict[str, Any]]
    RestartCount: int


class ExecInspect(TypedDict, total=False):
    ID: str
    Running: bool
    ExitCode: int | None
    Pid: int
    ContainerID: str


class ImageManifest(TypedDict):
    """What an index lists; `ImageData` is there for Kind "image"."""

    ID: str
    Available: bool
    Kind: str
    Size: dict[str, int]
    ImageData: dict[str, Any]


class ImageSummary(TypedDict, total=False):
    Id: str
    ParentId: str
    RepoTags: list[str] | None
    RepoDigests: list[str] | None
    Created: int
    Size: int
    SharedSize: int
    Containers: int
    Labels: dict[str, str] | None
    Manifests: list[ImageManifest] | None


class ImageInspect(TypedDict, total=False):
    Id: str
    RepoTags: list[str]
    RepoDigests: list[str]
    Created: str
    Architecture: str
    Os: str
    Size: int
    Config: dict[str, Any]
    RootFS: dict[str, Any]


class HistoryItem(TypedDict):
    Id: str
    Created: int
    CreatedBy: str
    Tags: list[str] | None
    Size: int
    Comment: str


class DeletedImage(TypedDict, total=False):
    Untagged: str
    Deleted: str


class Progress(TypedDict, total=False):
    """One line about a pull, a load or an import; `error` ends it."""

    id: str
    status: str
    stream: str
    progress: str
    progressDetail: dict[str, Any]
    error: str
    errorDetail: dict[str, Any]
    aux: dict[str, Any]


class Actor(TypedDict):
    ID: str
    Attributes: dict[str, str] | None


class Event(TypedDict, total=False):
    Type: str
    Action: str
    Actor: Actor
    scope: str
    time: int
    timeNano: int


class Volume(TypedDict, total=False):
    Name: str
    Driver: str
    Mountpoint: str
    CreatedAt: str
    Labels: dict[str, str] | None
    Options: dict[str, str] | None
    Scope: str


class VolumeUsage(TypedDict):
    RefCount: int
    Size: int


class MeasuredVolume(Volume, total=False):
    UsageData: VolumeUsage


class BuildCache(TypedDict, total=False):
    ID: str
    Type: str
    InUse: bool
    Shared: bool
    Size: int
    CreatedAt: str
    LastUsedAt: str | None
    UsageCount: int


class DiskUsage(TypedDict, total=False):
    LayersSize: int
    BuilderSize: int
    Images: list[ImageSummary] | None
    Containers: list[ContainerSummary] | None
    Volumes: list[MeasuredVolume] | None
    BuildCache: list[BuildCache] | None


class VolumeList(TypedDict):
    Volumes: list[Volume] | None
    Warnings: list[str] | None


class Network(TypedDict, total=False):
    Id: str
    Name: str
    Driver: str
    Scope: str
    Created: str
    EnableIPv4: bool
    EnableIPv6: bool
    Internal: bool
    Labels: dict[str, str] | None
    Options: dict[str, str] | None


class Version(TypedDict, total=False):
    Version: str
    ApiVersion: str
    MinAPIVersion: str
    GitCommit: str
    GoVersion: str
    Os: str
    Arch: str
    KernelVersion: str
    BuildTime: str
    Components: list[dict[str, Any]]
    Platform: dict[str, str]


class SystemInfo(TypedDict, total=False):
    ID: str
    Name: str
    ServerVersion: str
    Containers: int
    Images: int
    Driver: str
