// The extension's button opens the panel: Chromium's side panel or Firefox's sidebar.
if (typeof chrome !== 'undefined' && chrome.sidePanel) {
  chrome.sidePanel.setPanelBehavior({ openPanelOnActionClick: true });
} else {
  browser.action.onClicked.addListener(() => browser.sidebarAction.toggle());
}
