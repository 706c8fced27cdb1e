"""What Airflow's database has of assets and their events."""

from __future__ import annotations

from typing import Any

from tests.versions import AIRFLOW


def asset_event_model() -> Any:
    """Return the class of Airflow's that an event is a row of."""
    try:
        from airflow.models.asset import AssetEvent
    except ImportError:  # Airflow 2
        from airflow.models.dataset import DatasetEvent as AssetEvent  # type: ignore[import-not-found, no-redef]
    return AssetEvent


def events() -> dict[str, list[dict[str, Any]]]:
    """Return what Airflow's database has of events, by the asset's URI; a test begins with none."""
    from airflow.utils.session import create_session

    kind = asset_event_model()
    found: dict[str, list[dict[str, Any]]] = {}
    with create_session() as session:
        for event in session.query(kind).order_by(kind.id):
            found.setdefault(event.uri, []).append(dict(event.extra))
    return found


def register_assets(*assets: str) -> None:
    """Write what Airflow's database has of assets that a DAG names in its schedule."""
    from airflow.utils.session import create_session

    with create_session() as session:
        for uri in assets:
            if AIRFLOW < (3, 0):
                from airflow.models.dataset import DatasetModel

                row = session.query(DatasetModel).filter(DatasetModel.uri == uri).first() or DatasetModel(uri=uri)
                row.is_orphaned = False
                session.add(row)
                continue
            from airflow.models.asset import AssetActive, AssetModel

            row = session.query(AssetModel).filter(AssetModel.uri == uri).first()
            if row is None:
                row = AssetModel(name=uri, uri=uri, group="asset")
                session.add(row)
                session.flush()
            if session.query(AssetActive).filter(AssetActive.uri == uri).first() is None:
                session.add(AssetActive.for_asset(row))


def deactivate_asset(uri: str) -> None:
    from airflow.utils.session import create_session

    with create_session() as session:
        if AIRFLOW < (3, 0):
            from airflow.models.dataset import DatasetModel

            session.query(DatasetModel).filter(DatasetModel.uri == uri).update({"is_orphaned": True})
            return
        from airflow.models.asset import AssetActive

        session.query(AssetActive).filter(AssetActive.uri == uri).delete()


def is_known(uri: str) -> bool:
    """Tell whether Airflow's database has a row of an asset."""
    from airflow.utils.session import create_session

    try:
        from airflow.models.asset import AssetModel
    except ImportError:  # Airflow 2
        from airflow.models.dataset import DatasetModel as AssetModel  # type: ignore[no-redef]
    with create_session() as session:
        return session.query(AssetModel).filter(AssetModel.uri == uri).first() is not None
