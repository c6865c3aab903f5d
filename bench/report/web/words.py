"""The words of the web report, in the language in force of `bench.report.captions`.

As there, the English words are the keys of the catalogue; the scripts of the page look theirs up in
the same way.
"""

from __future__ import annotations

from collections.abc import Mapping

from bench.report.captions import in_force


def say(english: str, /, **values: object) -> str:
    """Words in the language in force, `{name}` replaced by the value of that name.

    Words that the catalogue lacks stay English; a test finds them.
    """
    words = _japanese() if in_force() == "ja" else {}
    return words.get(english, english).format(**values)


def for_scripts() -> Mapping[str, str]:
    """What the scripts say in place of the English words; nothing in English."""
    return JAPANESE if in_force() == "ja" else {}


def _japanese() -> Mapping[str, str]:
    from bench.report import japanese

    return {**japanese.JAPANESE, **JAPANESE}


# By the English words of template and scripts.
JAPANESE: Mapping[str, str] = {
    # The page
    "Skip to the content": "本文へ移動",
    "Sections": "目次",
    "Light / dark": "明 / 暗",
    "Tables": "表",
    "Plots": "図",
    "Lines": "行",
    "Disagreement": "システム間の相違",
    "Conditions": "測定条件",
    "Signatures": "シグネチャ",
    "Pages": "ページ",
    "No cell of this run is finished yet.": "完了した測定はまだない。",
    "No line of this run was read with trained weights.": (
        "この測定には、学習済みの重みで読まれた行がない。"
    ),
    "Plots, lines and sorting need JavaScript; the tables do not.": (
        "図・行の閲覧・並べ替えには JavaScript が必要です(表は不要)。"
    ),
    "{rows} rows, {failed} of them failed; measured {when}.": (
        "測定 {rows} 件(うち失敗 {failed} 件)、測定日 {when}。"
    ),
    "Written by Kaidoku from the stored rows; nothing of it is loaded from elsewhere.": (
        "Kaidoku が保存済みの測定結果から作成。外部から読み込むものはない。"
    ),
    # Conditions
    "Machine": "計算機",
    "Device": "デバイス",
    "Threads": "スレッド数",
    "Precision": "精度",
    "Batch size": "バッチサイズ",
    "Software": "ソフトウェア",
    "Normaliser": "正規化",
    "Status": "状態",
    "Key": "キー",
    "Signature": "シグネチャ",
    "All rows with key and signature": "全測定(キーとシグネチャ)",
    # Plots
    "Show": "表示",
    "Systems": "システム",
    "CER by severity of damage": "損傷の強さと文字誤り率(CER)",
    "CER against speed, clean lines": "処理速度と文字誤り率(CER)、損傷のない行",
    "severity": "強さ",
    "severity (0: clean)": "損傷の強さ(0: 損傷なし)",
    "CER (%; 95 % interval)": "CER(%、95 % 信頼区間)",
    "lines/s": "行/s",
    "lines/s of encoder + decoder (log scale; bar: range of the rounds)": (
        "エンコーダとデコーダの処理速度(行/s、対数目盛、横線は計測間の範囲)"
    ),
    "on the Pareto front": "パレート最適",
    # Lines
    "Each text against the reference:": "参照文との差分:",
    "substituted": "置換",
    "inserted": "挿入",
    "deleted": "脱落",
    "hidden by the damage": "損傷で隠れた文字",
    "Pictures, spread evenly from the best to the worst read line: {sets}.": (
        "画像のある行(正しく読まれた行から誤りの多い行まで均等に選択): {sets}。"
    ),
    "Why some lines have no pictures": "画像がない行の理由",
    "{shown} of {lines} lines of {name}": "{name} の {lines} 行のうち {shown} 行",
    "Set": "データセット",
    "Damage": "損傷",
    "Severity": "損傷の強さ",
    "Writer or block": "筆者・ブロック",
    "CER of": "CER の対象",
    "CER in %": "CER(%)",
    "from": "下限",
    "to": "上限",
    "Order": "並べ方",
    "Text or id": "文字列または ID",
    "all": "すべて",
    "none": "なし",
    "clean": "損傷なし",
    "as in the set": "データセットの順",
    "highest CER first": "CER の高い順",
    "lowest CER first": "CER の低い順",
    "the worst system": "最も悪いシステム",
    "the best system": "最も良いシステム",
    "worst less best": "最悪と最良の差",
    "only lines with a picture": "画像のある行のみ",
    "line": "行",
    "lines": "行",
    "writer or block": "筆者・ブロック",
    "reference": "参照文",
    "previous": "前",
    "next": "次",
    # Disagreement
    "How many lines the system of the row reads with fewer character edits than the system of the "
    "column, under the condition chosen above the lines. A number leads to its lines.": (
        "「行」の絞り込みで選んだ条件のもとで、表の行のシステムが列のシステムより少ない文字編集数で"
        "読んだ行の数。数字を押すとその行を表示する。"
    ),
    "fewer edits than →": "編集数が少ない →",
    "fewer edits than": "より編集数が少ない:",
    "without an error": "誤りなし",
    "right alone": "単独で正解",
}
